"""Classes in classes, their instances and methods, and classes that refer to each other."""

# contexts: default fork spawn tcp
# modes: file stdin

import enum
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class Outer:
    class Inner:
        class Deep:
            def __init__(self, n):
                self.n = n

            def owner(self):
                return Outer.Inner

        def deep(self, n):
            return Outer.Inner.Deep(n)

    class Kind(enum.Enum):
        A = 1
        B = 2

    class Error(Exception):
        pass

    @staticmethod
    def fail():
        raise Outer.Error("inner error")


class Node:
    def __init__(self, name):
        self.name = name
        self.tree = None

    def root(self):
        return Tree.root_of(self)


class Tree:
    def __init__(self):
        self.nodes = []

    def add(self, name):
        node = Node(name)
        node.tree = self
        self.nodes.append(node)
        return node

    @staticmethod
    def root_of(node):
        return node.tree.nodes[0]


def owner(deep):
    return deep.owner(), deep.owner() is Outer.Inner, type(deep) is Outer.Inner.Deep


def grow(tree):
    return tree.add("leaf")


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        deep = pool.submit(Outer.Inner().deep, 3).result()
        print(type(deep) is Outer.Inner.Deep, deep.n, type(deep).__qualname__)
        found, *facts = pool.submit(owner, deep).result()
        print(found is Outer.Inner, facts)
        print(pool.submit(Outer.Kind, 2).result() is Outer.Kind.B)
        try:
            pool.submit(Outer.fail).result()
        except Outer.Error as error:
            print(error, type(error) is Outer.Error)
        tree = Tree()
        tree.add("root")
        leaf = pool.submit(grow, tree).result()
        print(leaf.root().name, leaf.tree.nodes[1] is leaf, len(tree.nodes))
        print(pool.submit(leaf.root).result().name)
