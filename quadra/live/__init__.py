"""What pages, terminal, log and Prometheus are told while training goes on.

Knows no Flask: `web` carries it to browsers.
"""
