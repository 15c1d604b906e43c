"""Print the Debian package with this Python's C headers, if they are missing."""

import os
import sys
import sysconfig

if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print(f"python{sys.version_info.major}-dev")
