"""`python -m benchmarks [TOPIC ...] [--quick] [--json FILE]`: measure, show progress, print the results as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import os
from pathlib import Path

from benchmarks.measuring import ONE_THREAD, say

TOPICS = {  # name: what it measures; each is a module of this package with run(quick) -> results
    "speed": "an iteration against the plain one, and against other packages where they are installed",
    "endurance": "whether it stays as fast over 100,000 iterations, and as small",
    "memory": "peak memory at 100,000 cells, in parameters' bytes",
    "product": "the whole server with a client watching, against the bare step",
    "crowd": "a hundred viewers at full speed against one: training's rate, updates, answers over HTTP",
    "floods": "how long /health takes while strangers hold idle and slow connections, and whether training notices",
    "tricks": "what each trick of the compiled step saves",
    "saves": "what saves cost training, whether that stays flat, and how long a load takes",
    "legacy": "what a folder of the earlier generation with a million iterations costs loads and lists",
    "inside": "the rate of training while the view of what is inside is watched, against unwatched",
    "start": "from the command to the page",
    "page": "the page in Chromium: its first paint with a million iterations, and a minute of training at full speed",
}


def main() -> None:
    """Run the topics that were asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=", ".join(TOPICS) + " (default: all)")
    parser.add_argument("--quick", action="store_true", help="about a minute for all, with rougher figures")
    parser.add_argument("--json", metavar="FILE", help="write the results to a file too")
    options = parser.parse_args()
    unknown = set(options.topics) - set(TOPICS)
    if unknown:
        parser.error(f"no such topic: {', '.join(sorted(unknown))}; there are {', '.join(TOPICS)}")
    os.environ.update(ONE_THREAD)  # before any library reads it
    results = {}
    for topic in options.topics or TOPICS:
        say(f"{topic}: {TOPICS[topic]}")
        results[topic] = importlib.import_module(f"benchmarks.{topic}").run(options.quick)
    text = json.dumps(results, indent=2)
    say(text)
    if options.json:
        Path(options.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
