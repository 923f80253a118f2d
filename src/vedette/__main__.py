"""`python -m vedette` is `vedette`."""

from vedette.cli.main import main

main()
