"""The C and C++ programs that test_symbols.py compiles: inlining, cold parts, folded functions, templates, lambdas."""

HEADER = """
#include <stdlib.h>
static inline void *wrap(size_t n) {
    void *p = malloc(n);
    if (!p)
        abort();
    return p;
}
static inline __attribute__((always_inline)) char *twice(size_t n)
{
    char *a = wrap(n);
    char *b = wrap(2 * n);
    free(a);
    return b;
}
struct node { struct node *next; char *name; int table[4]; };
"""
MAIN_C = """
#include <stdio.h>
#include <string.h>
#include "inc/../inc.h"
extern void other(struct node *n);
int counter_array[10];
static int counter;
__attribute__((noinline)) static int partial(int x, int y) {
    if (__builtin_expect(x > 1000, 0)) {
        fprintf(stderr, "rare %d\\n", x);
        abort();
    }
    return x * y + counter++;
}
static struct node *make(const char *name) {
    struct node *n = wrap(sizeof *n);
    n->name = strdup(name);
    n->next = NULL;
    for (int i = 0; i < 4; i++)
        n->table[i] = partial(i, 3);
    return n;
}
int visible_size(struct node *n) { return n ? puts(n->name) + counter_array[3] : 0; }
int main(int argc, char **argv) {
    struct node *head = NULL;
    for (int i = 0; i < argc + 3; i++) {
        struct node *n = make(argv[0]);
        n->next = head;
        head = n;
    }
    other(head);
    char *t = twice(argc);
    strcpy(t, "x");
    printf("%s %d %d\\n", t, partial(argc, 2), visible_size(head));
    free(twice(3)); free(twice(4));
    return 0;
}
"""
OTHER_C = """
#include "inc.h"
void other(struct node *n) {
    while (n) {
        struct node *next = n->next;
        free(n->name);
        free(n);
        n = next;
    }
    free(twice(9));
}
int folded_one(int x) { return abs(rand()) + x; }
int folded_two(int x) { return abs(rand()) + x; }
"""
MAIN_CC = """
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>
namespace shop {
struct Item {
  std::string name; int price;
  Item(std::string n, int p) : name(std::move(n)), price(p) {}
  virtual ~Item() = default;
};
struct Special : Item { using Item::Item; ~Special() override { std::cout << "bye"; } };
template <typename T, int N> struct Box {
  T *data[N]; int used = 0;
  void put(T *t) { if (used == N) throw std::runtime_error("full"); data[used++] = t; }
  ~Box() { for (int i = 0; i < used; i++) delete data[i]; }
};
namespace { int secret(const std::vector<int> &v) { int s = 0; for (int x : v) s += x; return s; } }
template <class F> auto apply(F f, int n) -> decltype(f(n)) { return f(n); }
Item operator+(const Item &a, const Item &b) { return Item(a.name + b.name, a.price + b.price); }
}
int main(int argc, char **) {
  std::vector<int> v;
  for (int i = 0; i < argc * 10; i++) v.push_back(i * 7 % 5);
  std::sort(v.begin(), v.end(), [](int a, int b) { return a > b; });
  std::map<std::string, std::unique_ptr<shop::Item>> m;
  m["a"] = std::make_unique<shop::Special>("a", shop::secret(v));
  m["b"] = std::make_unique<shop::Item>("b", 3);
  shop::Box<shop::Item, 4> box;
  try { for (int i = 0; i < 5; i++) box.put(new shop::Item(std::to_string(i), i)); }
  catch (const std::exception &e) { std::cout << e.what(); }
  std::function<int(int)> f = [&](int k) { return shop::apply([k](int z) { return new int[z + k]; }, k)[0]; };
  std::cout << f(3) << (*m["a"] + *m["b"]).name << std::endl;
}
"""

SOURCES = {"inc.h": HEADER, "main.c": MAIN_C, "other.c": OTHER_C, "main.cc": MAIN_CC}
