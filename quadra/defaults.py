"""What the server takes where neither an option nor the environment says otherwise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerDefaults:
    """One value for each option. `app.py` has the same as constants, says what each means, and may be edited."""

    host: str = "127.0.0.1"
    port: int = 5000
    token: str | None = None
    watch_token: str | None = None
    allow_host: str | None = None
    proxy: bool = False
    state_dir: str = "dashboard_state"
    save_every: int = 10
    pace: float | None = 10.0
    field_size: int = 100
    seed: int | None = None
    corpus: str | None = None
    device: str = "cpu"
    backup_url: str | None = None
    backup_every: int = 100
    points_budget: int = 500
    best_window: int = 100
    rescue: bool = False
    log_format: str = "text"
    log_file: str | None = None
    log_budget: int = 50
    threads: int | None = None
