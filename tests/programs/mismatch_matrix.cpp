// FLAGS -std=c++17 -fsized-deallocation
// Each way to make a block with each way to release one that does not go with it.
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <new>

using Release = void (*)(void *);
constexpr std::size_t SIZE = 48;
constexpr std::align_val_t WIDE{64};
static volatile int released; // counted behind each call, which then cannot be a jump

__attribute__((noinline)) static void by_free(void *block)
{
    std::free(block); // EXPECT mismatched-free
    released++;
}

__attribute__((noinline)) static void by_realloc(void *block)
{
    std::free(std::realloc(block, 100)); // EXPECT mismatched-free
    released++;
}

__attribute__((noinline)) static void by_delete(void *block)
{
    ::operator delete(block); // EXPECT mismatched-free
    released++;
}

__attribute__((noinline)) static void by_sized_delete(void *block)
{
    ::operator delete(block, SIZE); // EXPECT mismatched-free
    released++;
}

__attribute__((noinline)) static void by_delete_array(void *block)
{
    ::operator delete[](block); // EXPECT mismatched-free
    released++;
}

__attribute__((noinline)) static void by_aligned_delete(void *block)
{
    ::operator delete(block, WIDE); // EXPECT mismatched-free
    released++;
}

__attribute__((noinline)) static void by_aligned_delete_array(void *block)
{
    ::operator delete[](block, WIDE); // EXPECT mismatched-free
    released++;
}

__attribute__((noinline)) static void with_wrong_size(void *block)
{
    ::operator delete(block, SIZE - 8); // EXPECT mismatched-free // VALGRIND differs: it does not look at the size
    released++;
}

__attribute__((noinline)) static void with_wrong_size_array(void *block)
{
    ::operator delete[](block, SIZE + 8); // EXPECT mismatched-free // VALGRIND differs: it does not look at the size
    released++;
}

__attribute__((noinline)) static void with_wrong_size_aligned(void *block)
{
    ::operator delete(block, SIZE * 2, WIDE); // EXPECT mismatched-free // VALGRIND differs: it does not look at the size
    released++;
}

__attribute__((noinline)) static void *made_by_malloc()
{
    return std::malloc(SIZE);
}

__attribute__((noinline)) static void *made_by_new()
{
    return ::operator new(SIZE);
}

__attribute__((noinline)) static void *made_by_new_array()
{
    return ::operator new[](SIZE);
}

__attribute__((noinline)) static void *made_by_aligned_new()
{
    return ::operator new(SIZE, WIDE);
}

__attribute__((noinline)) static void *made_by_aligned_new_array()
{
    return ::operator new[](SIZE, WIDE);
}

int main()
{
    for (Release release : {by_delete, by_sized_delete, by_delete_array, by_aligned_delete, by_aligned_delete_array})
        release(made_by_malloc());
    for (Release release : {by_free, by_realloc, by_delete_array, by_aligned_delete, with_wrong_size})
        release(made_by_new());
    for (Release release : {by_free, by_realloc, by_delete, by_aligned_delete_array, with_wrong_size_array})
        release(made_by_new_array());
    for (Release release : {by_free, by_realloc, by_delete, by_delete_array, by_aligned_delete_array})
        release(made_by_aligned_new());
    for (Release release : {by_free, by_realloc, by_delete, by_delete_array, by_aligned_delete})
        release(made_by_aligned_new_array());
    with_wrong_size_aligned(made_by_aligned_new());
    std::printf("done\n");
    return 0;
}
