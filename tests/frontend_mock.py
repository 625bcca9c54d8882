import math, random, sys, threading, time, datetime, os, logging
from flask import Flask, jsonify, render_template, request, send_from_directory
from flask_socketio import SocketIO, emit
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
app = Flask(__name__, template_folder=ROOT + "/templates", static_folder=None)
sio = SocketIO(app, async_mode="threading")
lock = threading.RLock()
def iso(ago=0): return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=ago)).isoformat().replace("+00:00", "Z")
def point(i):
    r = random.Random(i)
    return dict(iteration=i, loss=0.05 + 0.46 * math.exp(-i / 40) + 0.03 * r.random() + (0.6 if i == 777 else 0), reward=11.4 - 3.3 * math.exp(-i / 50) + 0.2 * r.random(),
                variance=0.01 + 0.02 * math.exp(-i / 60) + 0.002 * r.random(), mean=0.5 - 0.5 * math.exp(-i / 45) + 0.02 * r.random())
S = dict(run=None, n=0, running=False, until=None, pace=10, save_every=10, saved_n=0, last_save=None, save_error=None, runs=[], current=None, version="0.1.0", ips=0.0, delay=0.0)
TEXT = "It is a truth universally acknowledged, that a single line of text in possession of words must be in want of a field."
def state_name(): return "uninitialized" if S["run"] is None else "training" if S["running"] else "ready"
def metrics():
    if not S["run"] or not S["n"]: return None
    return dict(point(S["n"]), integrity_strikes=0, qtable_size=min(108, S["n"]), plasticity=1.05, pattern=S["n"] % 3, text=TEXT)
def status():
    st = state_name()
    ref = dict(initialize="Training: stop first." if st == "training" else None, start={"uninitialized": "Nothing to train: initialize or load first.", "training": "Already training."}.get(st),
               stop=None if st == "training" else "Not training.", load="Training: stop first." if st == "training" else None, reset=None)
    stopped = [r for r in S["runs"] if r["ended"] == "stopped"]
    saved = (stopped or S["runs"] or [None])[-1]
    newest = S["runs"][-1] if S["runs"] else None
    newer = newest if newest and saved is not newest else None
    cut = lambda r: r and {k: r[k] for k in ("id", "iteration_count", "saved_at")}
    return dict(state=st, initialized=S["run"] is not None, running=S["running"], refusals=ref, iteration_count=S["n"], current_metrics=metrics(), run=S["run"], field_size=100, seed=str(2**60), corpus="built-in corpus", device="cpu",
                pace=S["pace"], until=S["until"], iterations_per_second=S["ips"], save_every=S["save_every"], saved=cut(saved), newer=cut(newer),
                saved_states=[dict(r, field_size=100, seed=42, current=r["id"] == S["run"]) for r in S["runs"]], last_save=S["last_save"], save_error=S["save_error"], unsaved_iterations=S["n"] - S["saved_n"],
                reset_deletes=(["oscillator_weights.pth", "metrics_history.pkl", "system_state.pkl"] + [f"runs/{r['id']}/ (3 files, {r['iteration_count']} iterations)" for r in S["runs"][:-1]]) if S["runs"] else [],
                state_dir="dashboard_state", version=S["version"])
def publish(): sio.emit("training_status", status())
def say(m, t="info"): sio.emit("status_message", dict(message=m, type=t))
def save(ended="cut off"):
    if S["save_error"]:
        sio.emit("save_failed", dict(iteration_count=S["n"], message="No space left on device")); publish(); return
    S["saved_n"] = S["n"]; S["last_save"] = dict(iteration_count=S["n"], saved_at=iso(), duration_ms=4.2)
    S["runs"] = [r for r in S["runs"] if r["id"] != S["run"]] + [dict(id=S["run"], iteration_count=S["n"], saved_at=iso(), ended=ended)]
    sio.emit("state_saved", S["last_save"]); publish()
def series(lo, hi, step=1):
    pts = [point(i) for i in range(lo, hi + 1, step)]
    if pts and pts[-1]["iteration"] != hi: pts.append(point(hi))
    return {k: [p[k] for p in pts] for k in ("iteration", "loss", "reward", "variance", "mean")}
def trainer():
    sent, t, run = 0, time.monotonic(), None
    while True:
        time.sleep(0.05)
        with lock:
            if not S["running"]: sent = S["n"]; t = time.monotonic(); acc = 0.0; continue
            if run != S["run"]: run = S["run"]; sent = min(sent, S["n"])
            pace = S["pace"] or 3000
            acc += pace * 0.05
            for _ in range(int(acc)):
                S["n"] += 1
                if S["save_every"] and S["n"] % max(S["save_every"], pace // 2 // 10 * 10) == 0: save()
                if S["until"] and S["n"] >= S["until"]: break
            acc -= int(acc)
            S["ips"] = float(pace) * 0.98
            if S["n"] > sent:
                sio.emit("metrics_update", dict(metrics(), iterations_per_second=S["ips"], run=S["run"], unsaved_iterations=S["n"] - S["saved_n"], points=series(sent + 1, S["n"])))
                sent = S["n"]
            if S["until"] and S["n"] >= S["until"]:
                S["running"] = False; save("stopped"); say(f"Reached iteration {S['n']}", "success"); publish()
def command(f):
    def h(payload=None):
        time.sleep(S["delay"])
        with lock:
            r = f(payload or {})
            publish()
        return r
    return h
ok = lambda **k: dict(ok=True, **k)
no = lambda m: dict(ok=False, error=dict(code="x", message=m))
@sio.on("connect")
def _(auth=None): emit("training_status", status())
@command
def initialize(p):
    if S["running"]: return no("Training: stop first.")
    S.update(run="%016x" % random.getrandbits(64), n=0, saved_n=0, last_save=None, until=None)
    sio.emit("system_initialized", dict(initialized=True, field_size=100, seed=1)); say("System initialized", "success"); return ok(field_size=p.get("field_size", 100), seed=p.get("seed", 1234))
@command
def start(p):
    if p.get("until") and p["until"] <= S["n"]: return no(f"until: must be larger than the {S['n']} iterations done.")
    S.update(running=True, until=p.get("until")); say("Training started"); return ok(until=S["until"])
@command
def stop(p):
    S["running"] = False; save("stopped"); S["ips"] = 0; say("Training stopped", "success"); return ok(iteration_count=S["n"])
@command
def load(p):
    if not S["runs"]: say("No saved state found", "warning"); return no("No saved state found")
    src = p.get("source") or status()["saved"]["id"]
    r = next(r for r in S["runs"] if r["id"] == src)
    S.update(run=r["id"], n=r["iteration_count"], saved_n=r["iteration_count"], until=None)
    sio.emit("state_loaded", dict(iteration_count=S["n"], history=series(1, S["n"], max(1, S["n"] // 1000)))); say(f"State loaded: {S['n']} iterations restored", "success")
    return ok(iteration_count=S["n"], warnings=["The corpus is another one than before."] if len(S["runs"]) > 1 else [])
@command
def reset(p):
    S.update(run=None, n=0, running=False, runs=[], last_save=None, saved_n=0, until=None); sio.emit("system_reset", {}); say("Everything deleted", "success"); return ok()
@command
def pace(p): S["pace"] = p["iterations_per_second"]; return ok()
for n, f in dict(initialize_system=initialize, start_training=start, stop_training=stop, load_state=load, reset_system=reset, set_pace=pace).items(): sio.on_event(n, f)
@app.get("/")
def index():
    return render_template("dashboard.html", asset=lambda p: "assets/abc123/" + p, version="0.1.0")
@app.get("/assets/<v>/<path:p>")
def assets(v, p): return send_from_directory(ROOT + "/static", p, max_age=31536000)
@app.get("/api/status")
def api_status():
    with lock: return jsonify(dict(status(), history={}))
@app.get("/api/history")
def api_history():
    with lock:
        pts = int(request.args.get("points", 2000)); n = S["n"]; step = max(1, math.ceil(n / pts))
        return jsonify(dict(series(1, n, step), total=n, thinned=step > 1, run=S["run"]))
@app.post("/mock")
def mock():
    j = request.get_json()
    with lock:
        if j.pop("two_runs", None):
            S["runs"] = [dict(id="aaaa000011112222", iteration_count=500, saved_at=iso(86400 * 1.2), ended="stopped"), dict(id="bbbb000011112222", iteration_count=220, saved_at=iso(200), ended="stopped"), dict(id="cccc000011112222", iteration_count=237, saved_at=iso(65), ended="cut off")]
        if j.pop("one_run", None): S["runs"] = [dict(id="bbbb000011112222", iteration_count=220, saved_at=iso(185), ended="stopped")]
        m = j.pop("say", None)
        if m: say(*m)
        S.update(j); publish()
    return "ok"
@app.after_request
def csp(r):
    r.headers["Content-Security-Policy"] = "default-src 'self'; script-src 'self' https://cdn.jsdelivr.net; object-src 'none'; base-uri 'none'"
    return r
if __name__ == "__main__":
    threading.Thread(target=trainer, daemon=True).start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    sio.run(app, host="127.0.0.1", port=int(sys.argv[1]), allow_unsafe_werkzeug=True)
