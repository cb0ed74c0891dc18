"""Opens a tiny network on an engine, as one of two processes at once: python open_twice.py ENGINE CACHE."""

import sys

import tiny

from densebone.engines import opening

if __name__ == "__main__":
    network = tiny.build()
    network.eval()
    with opening.open_network(network, sys.argv[1], cache=sys.argv[2]) as engine:
        print(float(engine.run(tiny.images().numpy())[0].sum()))
