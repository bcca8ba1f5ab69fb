"""Change everything that a kernel is made of, and print what the key of no kernel tells. tests/test_jit.py runs it.

What a kernel is made of is read off the source: every name of a module of kernels that a jitted function, or what that
speaks of, speaks of. Each is changed twice, in the source before it is imported and in memory afterwards.
"""

import ast
import builtins
import importlib
import importlib.abc
import importlib.util
import json
import sys
from pathlib import Path

from llvmlite import ir

MODULES = ("elementary", "tiles", "softmax", "label_sets", "convert", "dense", "csr", "gram", "lasso", "search")
# These choose the shape of a tile when a kernel is made. What they have chosen, numbers, is compiled in and in the key.
CHOOSE = {"_ACCUMULATORS", "_N_REGISTERS", "_largest", "tile_rows", "tile_vectors"}
JITTED = {"jit", "jit_part", "intrinsic", "overload", "traced"}
OVERLOAD = ", overloaded"
FOLDER = Path(importlib.util.find_spec("softmax_clf.kernels").origin).parent


def definitions(tree):
    """Name -> statement, of what a module defines itself; an overload by the name of what it is one of."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "_":
            found[node.decorator_list[0].args[0].id + OVERLOAD] = node
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= dict.fromkeys((name for target in node.targets for name in names_of(target)), node)
    return found


def names_of(*nodes):
    return {name.id for node in nodes for name in ast.walk(node) if isinstance(name, ast.Name)}


def imported(tree):
    """Name -> module of kernels that it comes from."""
    nodes = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.level == 1]
    return {alias.name: node.module for node in nodes for alias in node.names}


def is_jitted(node):
    return isinstance(node, ast.FunctionDef) and bool(names_of(*node.decorator_list) & JITTED)


def names_in_kernels():
    """What jitted functions speak of, at first or any hand, and what these values and options are made of.

    Returns
    -------
    compiled, computed : lists of (module, name)
        What is compiled in; and values that the values among these, and the options, were computed from at import.
    """
    trees = {module: ast.parse((FOLDER / f"{module}.py").read_text()) for module in MODULES}
    defined = {module: definitions(tree) for module, tree in trees.items()}
    sources = {module: imported(tree) for module, tree in trees.items()}

    def follow(waiting, into):
        found = set()
        while waiting:
            module, names = waiting.pop()
            for name in names:
                where = sources[module].get(name, module)
                for one in (name, name + OVERLOAD):
                    if one in defined.get(where, {}) and (where, one) not in found:
                        found.add((where, one))
                        waiting.append((where, into(defined[where][one])))
        return found

    jitted = [(module, node) for module, tree in trees.items() for node in ast.walk(tree) if is_jitted(node)]
    bodies = [(module, names_of(*node.body)) for module, node in jitted]
    compiled = follow(bodies, lambda node: set() if isinstance(node, ast.Assign) else names_of(*node.body))
    values = [
        (module, names_of(defined[module][name].value)) for module, name in compiled if is_value(defined, module, name)
    ]
    options = [(module, names_of(*node.decorator_list)) for module, node in jitted]
    computed = follow(values + options, lambda node: names_of(node.value) if isinstance(node, ast.Assign) else set())
    computed = {(module, name) for module, name in computed if is_value(defined, module, name)}
    return sorted(compiled), sorted(computed - compiled)


def is_value(defined, module, name):
    return isinstance(defined[module][name], ast.Assign)


def keys():
    """The key of some kernel of each kind, all modules being imported."""
    _, tiles, softmax, label_sets, convert, dense, csr, gram, lasso, search = (
        importlib.import_module(f"softmax_clf.kernels.{m}") for m in MODULES
    )
    jit = importlib.import_module("softmax_clf.kernels.jit")
    losses = [*softmax.BLOCK_LOSS.values(), *softmax.BLOCK_CURVATURE.values()]
    ways = [dense._in_place, dense._copied, convert.from_rows, convert.from_columns, convert.from_anywhere]
    kernels = {f"loss {i}": csr._loss_kernel(8, 2, loss) for i, loss in enumerate(losses)}
    kernels |= {f"predict {i}": dense._predict_kernel(3, True, way, softmax.predictions) for i, way in enumerate(ways)}
    kernels |= {
        "label sets": csr._loss_kernel(8, 2, label_sets.label_set_losses),
        "loss_gradient": dense._loss_gradient_kernel(3, True, dense._in_place, losses[0]),
        "row_states": dense._predict_kernel(3, True, dense._in_place, softmax.row_states),
        "raw_scores": dense._predict_kernel(3, True, dense._in_place, softmax.raw_scores),
        "along": search._along_kernel(losses[0]),
        "combine": search._combine,
        "gradient": csr._gradient_kernel(8, 2),
        "weighted_gram": gram._weighted_gram,
        "weighted_sparse_gram": gram._weighted_sparse_gram,
        "times": gram.times,
        "times_transpose": gram.times_transpose,
        "sweep": lasso.sweep,
        "sweep_columns": lasso.sweep_columns,
    }
    return {name: jit._key(jit._reached(k._cache.options, k._cache.function)) for name, k in kernels.items()}


def changed(value):
    """Another value of a kind."""
    if isinstance(value, tuple):
        return tuple(map(changed, value))
    if isinstance(value, set):
        return value ^ {"nsz"}
    if isinstance(value, ir.Type):
        return ir.IntType(16)
    return value + 1 if isinstance(value, int | float) else None


class Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the kernels with one definition changed."""

    of = name = None

    def find_spec(self, fullname, path=None, target=None):
        if fullname != f"softmax_clf.kernels.{self.of}":
            return None
        return importlib.util.spec_from_file_location(fullname, FOLDER / f"{self.of}.py", loader=self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        tree = ast.parse((FOLDER / f"{self.of}.py").read_text())
        node = definitions(tree)[self.name]
        if isinstance(node, ast.Assign):
            again = ast.parse(f"{self.name} = changed({self.name})").body
            tree.body[tree.body.index(node) + 1 : tree.body.index(node) + 1] = again
        else:
            node.body.insert(0, ast.parse("another = 1").body[0])
        exec(compile(ast.fix_missing_locations(tree), "changed", "exec"), vars(module))


def keys_of_an_import(importer, module, name):
    importer.of, importer.name = module, name
    for imported_before in [other for other in sys.modules if other.startswith("softmax_clf.kernels.")]:
        if not imported_before.endswith((".jit", ".threads")):
            del sys.modules[imported_before]
    return keys()


def functions_of(value):
    """The functions that an object of a module stands for."""
    value = getattr(value, "py_func", getattr(value, "_defn", value))
    if isinstance(value, type):
        members = [getattr(member, "__func__", member) for member in vars(value).values()]
        return [member for member in members if hasattr(member, "__code__")]
    return [value] if hasattr(value, "__code__") else []


def keys_of_changes(module, name):
    """Keys after each change in memory, which is taken back."""
    namespace = vars(sys.modules[f"softmax_clf.kernels.{module}"])
    value = namespace[name.removesuffix(OVERLOAD)]
    value = value.overloaded if name.endswith(OVERLOAD) else value
    for function in functions_of(value):
        code = function.__code__
        function.__code__ = code.replace(co_consts=(*code.co_consts, "another"))
        yield function.__qualname__, keys()
        function.__code__ = code
    if isinstance(value, type):
        value.another = 1
        yield name, keys()
        del value.another
    elif not functions_of(value):
        users = [vars(sys.modules[f"softmax_clf.kernels.{m}"]) for m in MODULES]
        users = [user for user in users if user.get(name) is value]
        for user in users:
            user[name] = changed(value)
        yield name, keys()
        for user in users:
            user[name] = value


def main():
    builtins.changed = changed
    compiled, computed = ([name for name in names if name[1] not in CHOOSE] for names in names_in_kernels())
    unseen, plain = [], keys()
    for module, name in compiled:
        for what, now in keys_of_changes(module, name):
            if now == plain:
                unseen.append(("in memory", module, what))
            if name == "VECTOR_BYTES":
                by_width = [kernel for kernel in plain if now[kernel] != plain[kernel]]
    assert keys() == plain  # all has been taken back
    importer = Importer()
    sys.meta_path.insert(0, importer)
    for module, name in compiled + computed:
        if keys_of_an_import(importer, module, name) == plain:
            unseen.append(("in the source", module, name))
    repeated = keys_of_an_import(importer, None, None) == plain
    dense = sys.modules["softmax_clf.kernels.dense"]
    rows = dense.tile_rows(3)
    dense.tile_rows = lambda tile_classes: 3 - rows // 2  # another power of two
    for factory in (dense.tile_loops, dense._loss_gradient_kernel, dense._predict_kernel):
        factory.cache_clear()
    by_shape = [kernel for kernel, key in keys().items() if key != plain[kernel]]
    print(
        json.dumps(
            {
                "by_shape": by_shape,
                "names": compiled + computed,
                "unseen": unseen,
                "repeated": repeated,
                "by_width": by_width,
            }
        )
    )


if __name__ == "__main__":
    main()
