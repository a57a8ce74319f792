// An expression tree with virtual nodes; replacing a subtree forgets the old one.
#include <cstdio>
#include <utility>

struct Node {
    virtual ~Node() {}
    virtual long value() const = 0;
};

struct Number : Node {
    explicit Number(long n) : n(n) {}
    long value() const override { return n; }
    long n;
};

struct Add : Node {
    Add(Node *l, Node *r) : left(l), right(r) {}
    ~Add() override
    {
        delete left;
        delete right;
    }
    long value() const override { return left->value() + right->value(); }
    Node *left, *right;
};

__attribute__((noinline)) static Node *number(long n)
{
    Node *node = new Number(n); // EXPECT leak indirectly-lost bytes=32 blocks=2
    return node;
}

__attribute__((noinline)) static Add *add(Node *left, Node *right)
{
    Add *node = new Add(left, right); // EXPECT leak definitely-lost bytes=24 blocks=1
    return node;
}

__attribute__((noinline)) static void simplify(Add *sum)
{
    long n = sum->right->value();
    sum->right = number(n); // the old subtree is lost
}

__attribute__((noinline)) static void work()
{
    Add *sum = add(number(1), add(number(20), number(300)));
    std::printf("%ld\n", sum->value());
    simplify(sum);
    std::printf("%ld\n", sum->value());
    delete sum;
}

int main()
{
    work();
    return 0;
}
