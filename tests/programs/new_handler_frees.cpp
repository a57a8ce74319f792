// VALGRIND cannot: its operator new ends the program instead of calling the handler
// FLAGS -std=c++17
// A new-handler that gives up a reserve, then itself; the block made in the end is new's.
#include <cstdio>
#include <limits>
#include <new>

static int calls = 0;
static char *reserve;

static void give_up()
{
    calls++;
    delete[] reserve;
    reserve = nullptr;
    int *inner = new int(calls);
    if (calls == 2)
        std::set_new_handler(nullptr);
    delete inner;
}

template <typename Attempt> __attribute__((noinline)) static void attempt(const char *name, Attempt make)
{
    calls = 0;
    reserve = new char[100];
    std::set_new_handler(give_up);
    void *block = nullptr;
    const char *result = "null";
    try {
        block = make();
    } catch (const std::bad_alloc &) {
        result = "bad_alloc";
    }
    std::printf("%s: %d calls, %s\n", name, calls, block ? "granted" : result);
}

int main()
{
    volatile std::size_t huge = std::numeric_limits<std::ptrdiff_t>::max() / 2;
    constexpr std::align_val_t wide{64};
    attempt("new", [&] { return ::operator new(huge); });
    attempt("new[]", [&] { return ::operator new[](huge); });
    attempt("nothrow new", [&] { return ::operator new(huge, std::nothrow); });
    attempt("nothrow new[]", [&] { return ::operator new[](huge, std::nothrow); });
    attempt("aligned new", [&] { return ::operator new(huge, wide); });
    attempt("aligned new[]", [&] { return ::operator new[](huge, wide); });
    attempt("nothrow aligned new", [&] { return ::operator new(huge, wide, std::nothrow); });
    attempt("nothrow aligned new[]", [&] { return ::operator new[](huge, wide, std::nothrow); });
    for (int i = 0; i < 3; i++) {
        try {
            delete[] new char[huge];
        } catch (const std::bad_alloc &) {
            std::printf("again\n");
        }
        delete new int(i);
    }
    char *volatile lost = new char[40]; // EXPECT leak definitely-lost bytes=40 blocks=1
    lost = nullptr;
    return 0;
}
