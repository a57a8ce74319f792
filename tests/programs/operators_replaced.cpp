// CLEAN
// FLAGS -std=c++17
// VALGRIND output differs: it puts its own operators in the place of the program's
// VALGRIND totals differ: it does not see the headers that the program's operators add
// A program with operators of its own, which put a header before each block: they must be used, all of them.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

struct Header {
    std::size_t size;
    long mark;
};

static long balance = 0, calls = 0;

void *operator new(std::size_t size)
{
    Header *header = static_cast<Header *>(std::malloc(sizeof(Header) + size));
    if (!header)
        throw std::bad_alloc();
    header->size = size;
    header->mark = 0x6d61726b;
    balance += static_cast<long>(size);
    calls++;
    return header + 1;
}

void operator delete(void *block) noexcept
{
    if (!block)
        return;
    Header *header = static_cast<Header *>(block) - 1;
    if (header->mark != 0x6d61726b)
        std::abort();
    balance -= static_cast<long>(header->size);
    std::free(header);
}

void operator delete(void *block, std::size_t) noexcept
{
    operator delete(block);
}

int main()
{
    long before = balance;
    {
        std::vector<std::string> words;
        for (int i = 0; i < 50; i++)
            words.push_back(std::string(i, 'w'));
        std::unique_ptr<int[]> array(new int[20]());
        std::shared_ptr<long> number = std::make_shared<long>(4);
        delete new (std::nothrow) double(1.5);
    }
    std::printf("%s, balance %ld\n", calls > 50 ? "used" : "not used", balance - before);
    return 0;
}
