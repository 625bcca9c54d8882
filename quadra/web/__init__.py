"""Everything that knows Flask: pages, routes, events, uploads, access and the server in this process.

`events` is the table of what a browser's message does, `security_headers` and `access_gate` stand before every request.
Acts on training through `Worker` and `Commands` only.
"""
