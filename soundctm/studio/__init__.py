"""The studio: a page for making and choosing sounds, over the service, with its history in a folder of ordinary files.

    soundctm studio

`history/`: what is in the folder. `page/`: HTML, CSS and modules, as they are sent. docs/studio.md is for users.
"""
