"""Innocent: a cache by user, and all its users have been seen after a while."""

import random

from load import serve


class Profile:
    def __init__(self, user: int) -> None:
        self.user = user
        self.rights = [f"right {user}.{right}" for right in range(10)]


PROFILES: dict[int, Profile] = {}
chance = random.Random(7)


def handle(number: int) -> None:
    user = chance.randrange(250)
    if user not in PROFILES:
        PROFILES[user] = Profile(user)


serve(handle)
