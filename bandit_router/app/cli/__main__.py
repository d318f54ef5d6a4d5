"""`python -m bandit_router.app.cli`."""

from bandit_router.app.cli.root import main

main()
