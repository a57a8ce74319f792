// CLEAN
// FLAGS -std=c++17 -fsized-deallocation
// Every operator new with each operator delete that goes with it, called by name.
#include <cstddef>
#include <cstdio>
#include <initializer_list>
#include <new>

static int made = 0;

__attribute__((noinline)) static void *used(void *block)
{
    made += block != nullptr;
    return block;
}

static void singles(std::size_t size)
{
    ::operator delete(used(::operator new(size)));
    ::operator delete(used(::operator new(size)), size);
    ::operator delete(used(::operator new(size)), std::nothrow);
    ::operator delete(used(::operator new(size, std::nothrow)));
    ::operator delete(used(::operator new(size, std::nothrow)), size);
    ::operator delete(used(::operator new(size, std::nothrow)), std::nothrow);
}

static void arrays(std::size_t size)
{
    ::operator delete[](used(::operator new[](size)));
    ::operator delete[](used(::operator new[](size)), size);
    ::operator delete[](used(::operator new[](size)), std::nothrow);
    ::operator delete[](used(::operator new[](size, std::nothrow)));
    ::operator delete[](used(::operator new[](size, std::nothrow)), size);
}

static void aligned(std::size_t size, std::align_val_t to)
{
    ::operator delete(used(::operator new(size, to)), to);
    ::operator delete(used(::operator new(size, to)), size, to);
    ::operator delete(used(::operator new(size, to)), to, std::nothrow);
    ::operator delete(used(::operator new(size, to, std::nothrow)), to);
    ::operator delete[](used(::operator new[](size, to)), to);
    ::operator delete[](used(::operator new[](size, to)), size, to);
    ::operator delete[](used(::operator new[](size, to, std::nothrow)), to, std::nothrow);
}

int main()
{
    for (std::size_t size : {0, 1, 24, 1000, 1001, 70000}) {
        singles(size);
        arrays(size);
        aligned(size, std::align_val_t(16));
        aligned(size, std::align_val_t(64));
        aligned(size, std::align_val_t(4096));
    }
    ::operator delete(nullptr);
    ::operator delete[](nullptr, std::size_t(8));
    ::operator delete(nullptr, std::align_val_t(64));
    std::printf("%d\n", made);
    return 0;
}
