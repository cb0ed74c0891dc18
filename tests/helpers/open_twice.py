"""Opens a tiny network on an engine and prints the sum of its output: python open_twice.py ENGINE CACHE.

A test starts it twice at once, with the same cache folder.
"""

import sys

import tiny

from densebone.engines import opening

if __name__ == "__main__":
    network = tiny.build()
    network.eval()
    with opening.open_network(network, sys.argv[1], cache=sys.argv[2]) as engine:
        print(float(engine.run(tiny.images().numpy())[0].sum()))
