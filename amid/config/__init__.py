"""The configuration: one TOML file and the files that it names. amid does not start with an invalid
or unsafe configuration.

`tables` defines the keys. `load` reads a configuration in four steps: `read` (files to TOML),
`convert` (TOML to tables), `crosscheck` (keys against each other) and `resolve` (the named files,
whose `permissions` are checked).
"""
