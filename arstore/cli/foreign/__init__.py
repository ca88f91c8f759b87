"""Commands and options of docker, podman, skopeo and similar tools that users type from habit, and what to use here.

`commands` and `options` are tables, `answers` looks them up. Imported only after a command line was refused. An entry
is removed when arstore gets the command or option that it names; a test finds those that are left.
"""
