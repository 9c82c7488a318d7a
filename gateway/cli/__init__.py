"""The command line. Modules that `main` imports know typer and the standard library only; the rest comes by `lazy`."""
