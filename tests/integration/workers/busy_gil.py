"""A main thread that never lets go of the GIL but when the interpreter makes it: adds
numbers until a second thread has seen the end of standard input. Holds nothing.
"""

import threading

import stage

over = False


def watch() -> None:
    global over  # noqa: PLW0603  the loop below reads it, nothing else can stop it
    stage.until_stdin_closes()
    over = True


stage.start_agent()
threading.Thread(target=watch).start()
stage.ready()
total = 0
while not over:
    total += 1
