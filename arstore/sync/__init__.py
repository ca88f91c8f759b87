"""`sync`: many images from registries or directories to another place, as often as wanted.

`wishes` is what the user asks for in registries, `yaml_file` reads it from a file. `registries` and `directories` find
the images that there are, `places` and `store_place` know the destinations, `run` does what is to be done.
Not here: copying one image (`transport.export`, `transport.copy`). Start with `run`.
"""
