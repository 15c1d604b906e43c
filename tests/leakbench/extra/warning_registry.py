"""A warning with a text of its own for every request: each is remembered for ever."""

import warnings

from load import serve

warnings.simplefilter("ignore")
warnings.filterwarnings("default", category=RuntimeWarning)
warnings.showwarning = lambda *args, **kwargs: None
serve(lambda number: warnings.warn(f"slow request {number}", RuntimeWarning, 1))
