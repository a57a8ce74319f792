// CLEAN
// FLAGS -std=c++17
// VALGRIND output differs: it puts its own operators in the place of the program's
// Only new is replaced: the library's delete frees what it made, new[] and nothrow new reach it, too.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

static int calls = 0;

void *operator new(std::size_t size)
{
    calls++;
    if (void *block = std::malloc(size ? size : 1))
        return block;
    throw std::bad_alloc();
}

__attribute__((noinline)) static int *forward(int *pointer)
{
    return pointer;
}

int main()
{
    int before = calls;
    delete forward(new int(1));
    delete[] forward(new int[3]);
    delete forward(new (std::nothrow) int(2));
    std::vector<int>(100).swap(*std::make_unique<std::vector<int>>());
    std::printf("%s\n", calls - before >= 5 ? "used" : "not used");
    return 0;
}
