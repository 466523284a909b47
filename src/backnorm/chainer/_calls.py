"""How links and functions of Chainer are called and differentiated.

Plain: see `backnorm.host.specs`.
"""

import copy

FRAMEWORK = "chainer"


def base():
    """Chainer differentiates."""
    return "chainer"


def layer_classes():
    """Return the classes of layers."""
    import chainer

    return (chainer.Link,)


LAYERS = (
    ("BatchNormalization", "batch", [4]),
    ("BatchRenormalization", "batch", [4]),
    ("LayerNormalization", "layer", [6]),
    ("GroupNormalization", "group", [2, 4]),
)
"""Names, kinds and arguments. DecorrelatedBatchNormalization is none of the five kinds."""


def layers(tools):
    """Return all normalization layers."""
    from chainer import links

    known = ((name, kind, getattr(links, name, None), given) for name, kind, given in LAYERS)
    found = ((n, kind, cls, given) for n, kind, cls, given in known if cls is not None)
    return [("chainer.links." + n, kind, cls, given) for n, kind, cls, given in found]


def layer(candidate, kind, train, tools):
    """Return the facts of a link in one mode."""
    import chainer

    link = copy.deepcopy(candidate)
    for name in link._persistent:
        role = tools.role_of(name)
        if role.startswith("running_"):
            value = getattr(link, name)
            value[...] = tools.running(role, value.size).reshape(value.shape)
    named = {
        tools.role_of(name.rpartition("/")[2]): name.strip("/") for name, _ in link.namedparams()
    }
    named = {role: named[role] for role in ("gamma", "beta") if role in named}

    def call(arrays):
        fresh = copy.deepcopy(link)
        for role, name in named.items():
            # A variable in the place of a parameter, so that its gradient reaches the leaf.
            object.__setattr__(fresh, name, arrays[role])
        with chainer.using_config("train", train):
            return fresh(arrays["x"])

    shapes = [getattr(link, name).shape for name in named.values()]
    return {
        "call": call,
        "shape": shapes[0] if shapes else (tools.CHANNELS[kind],),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": getattr(candidate, "groups", 0),
    }


def differentiate(call, leaves, constants, dy):
    """Return y and the gradients of sum(y*dy), by Chainer's own graph."""
    import chainer

    given = {role: chainer.Variable(value) for role, value in leaves.items()}
    y = call(dict(constants, **given))
    y = y[0] if isinstance(y, (tuple, list)) else y
    if dy is None:
        return y.array.copy(), {}
    y.grad = dy.astype(y.dtype)
    y.backward()
    return y.array.copy(), {role: v.grad.copy() for role, v in given.items() if v.grad is not None}
