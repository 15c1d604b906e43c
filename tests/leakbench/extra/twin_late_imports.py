"""Innocent: modules are imported as the first requests need them, then no more."""

import importlib

from load import serve

LATE = [
    "sqlite3",
    "xml.dom.minidom",
    "email.mime.text",
    "decimal",
    "fractions",
    "statistics",
    "csv",
    "json.tool",
    "html.parser",
    "http.cookies",
    "http.server",
    "ftplib",
    "smtplib",
    "imaplib",
    "poplib",
    "xmlrpc.client",
    "argparse",
    "optparse",
    "zipfile",
    "tarfile",
    "unittest",
    "doctest",
    "pdb",
    "difflib",
    "calendar",
    "wave",
    "colorsys",
]


def handle(number: int) -> None:
    turn, rest = divmod(number, 20)
    if not rest and turn <= len(LATE):
        importlib.import_module(LATE[turn - 1])


serve(handle)
