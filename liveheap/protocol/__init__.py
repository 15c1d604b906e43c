"""The wire between client and agent, sans-IO; PROTOCOL.md beside this file is the law.

Import the module that you need: auth (handshake; standard library only, the bridge
runs it without msgpack), connection, messages, results. Nothing is re-exported here,
so that importing auth never pulls in msgpack.
"""
