"""QuadraMatrix: `python app.py` trains in the background, serves the dashboard and never forgets.

Edit the constants below, set QUADRA_<NAME> in the environment, or give options; the later of these wins.
"""

from __future__ import annotations

from quadra.cli import shutdown_signals

if __name__ == "__main__":
    shutdown_signals.take()  # before all else is imported, which takes a while

from typing import NoReturn

from quadra.cli import serve
from quadra.defaults import ServerDefaults

HOST = "127.0.0.1"  # address that is listened on; this one is reached from this machine only
PORT = 5000
TOKEN = None  # what somebody must bring to come in; None: generated where others than this machine can reach the server
WATCH_TOKEN = None  # what lets somebody in to see everything and change nothing; None: there are no watchers
ALLOW_HOST = None  # names, with commas between them, by which the server is reached beside its own addresses
PROXY = False  # whether the server stands behind one reverse proxy, whose X-Forwarded-* headers are believed
STATE_DIR = "dashboard_state"  # folder of the saved states
SAVE_EVERY = 10  # iterations between two saves; 0: no auto-save
PACE = 10.0  # iterations a second, so that a person can follow; None: no limit
FIELD_SIZE = 100  # cells of a new run's field
SEED = None  # of new runs; None: a fresh one each time
CORPUS = None  # text file or folder that new runs train on; None: the built-in corpus
DEVICE = "cpu"
BACKUP_URL = None  # place that saved states are mirrored to: s3://..., file://..., any that fsspec knows; None: nowhere
BACKUP_EVERY = 100  # saves between two backups while training; 0: only on Stop, on demand and at the end
POINTS_BUDGET = 500  # megabytes that restore points may take together; older ones are thinned first
BEST_WINDOW = 100  # iterations over which the reward is smoothed that makes a state the best one
RESCUE = False  # whether training that ended by integrity strikes goes back to the last good state by itself
LOG_FORMAT = "text"  # of the log, or json: then the terminal's lines are JSON as well
LOG_FILE = None  # keeps the terminal's lines and the log
LOG_BUDGET = 50  # megabytes that the log file and its older ones may take together
THREADS = None  # of one training step; None: those of a loaded run, 1 for a new one


def main(arguments: list[str] | None = None) -> NoReturn:
    """Serves until a signal; the constants above hold where neither an option nor the environment says otherwise."""
    serve.main(arguments, "app.py", defaults(), (__doc__ or "").partition("\n")[0])


def defaults() -> ServerDefaults:
    """Returns the constants above."""
    return ServerDefaults(
        host=HOST,
        port=PORT,
        token=TOKEN,
        watch_token=WATCH_TOKEN,
        allow_host=ALLOW_HOST,
        proxy=PROXY,
        state_dir=STATE_DIR,
        save_every=SAVE_EVERY,
        pace=PACE,
        field_size=FIELD_SIZE,
        seed=SEED,
        corpus=CORPUS,
        device=DEVICE,
        backup_url=BACKUP_URL,
        backup_every=BACKUP_EVERY,
        points_budget=POINTS_BUDGET,
        best_window=BEST_WINDOW,
        rescue=RESCUE,
        log_format=LOG_FORMAT,
        log_file=LOG_FILE,
        log_budget=LOG_BUDGET,
        threads=THREADS,
    )


if __name__ == "__main__":
    main()
