// Functions whose last act is to call an operator: optimised they leave no frame, and are named all the same.
#include <cstdio>
#include <new>

__attribute__((noinline)) static void *make(std::size_t size)
{
    return ::operator new(size); // EXPECT leak definitely-lost bytes=7 blocks=1
}

__attribute__((noinline)) static void drop(void *block)
{
    ::operator delete(block);
}

__attribute__((noinline)) static void drop_array(void *block)
{
    ::operator delete[](block); // EXPECT mismatched-free
}

__attribute__((noinline)) static void use()
{
    void *volatile block = make(16);
    drop(block);
    block = make(24);
    drop_array(block);
    block = make(7);
    block = nullptr;
}

int main()
{
    use();
    std::printf("done\n");
    return 0;
}
