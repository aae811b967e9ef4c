"""A process that tokenises: takes a Tokeniser and then batches from its standard input, and answers on the other side.

Only lorafit/data/tokenise.py starts it. Both ends are of one program on one machine, so they speak in pickles.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys

from lorafit.data.tokenise import made


def main() -> None:
    """Answers each batch with a Tokenised; ends when nothing more is sent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: whoever started this one ends it
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    tokeniser = pickle.load(sys.stdin.buffer)
    while True:
        try:
            batch = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(tokeniser([*map(made, batch)]), out, pickle.HIGHEST_PROTOCOL)
        out.flush()


if __name__ == "__main__":
    main()
