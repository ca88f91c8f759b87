"""The `__main__` of the single file."""

import sys

sys.argv[0] = "arstore"
from arstore.__main__ import main  # noqa: E402 - arstore looks at the name when it is imported

main()
