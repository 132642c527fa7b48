"""The service as HTTP: who may ask, bodies, routes, answers, events, the server."""
