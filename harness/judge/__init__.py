"""What records prove: pure functions of files and numbers. Imports stats, plan and below; no server, no request."""
