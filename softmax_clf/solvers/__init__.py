"""Generators that minimise and know no data: docs/method.md tells what they do, docs/stopping.md when they end."""
