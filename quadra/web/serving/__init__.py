"""Connections: they are accepted, read, limited and waited for here, by what strangers may not take more than their share of.

What a request asks for is not decided here, nor who may ask.
"""
