"""The tools that measure the gateway: a carrier simulator, a load generator, their ledger.

They are processes of their own, asyncio on uvloop, and know SMPP only through `bench.wire`.
They import nothing of the gateway: a tool that shared the gateway's codec would share its mistakes,
and could not referee the wire. (`bench.gateway` starts the daemon as a process, `bench.bare` is the
yardstick beside it, `python -m bench` compares the two.) `bench/README.md` tells what each tool is
and how to read its figures.
"""
