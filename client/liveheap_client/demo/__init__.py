"""`liveheap demo`: a leaking worker of our own, and the real commands against it."""

from liveheap_client.demo.tour import main

__all__ = ["main"]
