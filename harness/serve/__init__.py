"""A server and how to talk to it: start, guard, ports, client. Imports plan and records."""
