"""A captured log: text is written to a StringIO that nobody truncates."""

import io
import logging

from load import serve

capture = io.StringIO()
log = logging.getLogger("shop")
log.addHandler(logging.StreamHandler(capture))
log.propagate = False
serve(lambda number: log.warning("request %d: %s", number, "slow " * 2000))
