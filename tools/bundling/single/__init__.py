"""arstore as one executable file.

The file is a shell script and a zip archive. The script finds a Python and runs the archive with it. Native modules
cannot be imported from an archive, so the first start unpacks them into a cache directory, and later starts only import
from there.

`build.py` writes the file. `header.sh`, `main.py`, `boot.py` and `unpack.py` go into it, so they import nothing of this
project.
"""
