"""Everything that knows Flask: pages, routes, events, uploads, access and the server in this process.

Acts on training by commands only.
"""
