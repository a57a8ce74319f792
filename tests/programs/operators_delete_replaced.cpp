// CLEAN
// FLAGS -std=c++17
// VALGRIND output differs: it puts its own operators in the place of the program's
// Only delete and new[] are replaced, as by a program that wants to see what is released.
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>

static int deletes = 0, arrays = 0;

void operator delete(void *block) noexcept
{
    deletes += block != nullptr;
    std::free(block);
}

void *operator new[](std::size_t size)
{
    arrays++;
    void *block = std::malloc(size);
    if (!block)
        throw std::bad_alloc();
    return block;
}

__attribute__((noinline)) static char *forward(char *pointer)
{
    return pointer;
}

int main()
{
    int before = deletes;
    delete forward(new char('c'));
    delete[] forward(new char[10]);
    delete[] forward(new (std::nothrow) char[2000]);
    std::string *text = new std::string(90, 't');
    std::string(100, 's').swap(*text);
    delete text;
    std::printf("%s %s\n", deletes - before >= 4 ? "used" : "not used", arrays == 2 ? "used" : "not used");
    return 0;
}
