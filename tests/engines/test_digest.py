"""Networks that compute something else have another hash."""

import tiny

from densebone.engines.digest import digest


def test_the_digest_tells_apart_what_computes_differently():
    digests = [
        digest(net)
        for net in (
            tiny.build(),
            tiny.build(seed=1),
            tiny.build(tiny.TINY_DS),
            tiny.build(num_classes=6),
            tiny.build(out_indices=(3, 4)),
            tiny.build(out_indices=(2, 3, 4)),
        )
    ]
    assert len({*digests}) == len(digests)
    assert digest(tiny.build()) == digests[0]
    changed = tiny.build()
    changed.sublayers()[1].stride = 7  # a setting, not a weight
    assert digest(changed) != digests[0]
