// An exception nobody catches ends in abort; frames are not unwound.
// SIGNAL SIGABRT
// SKIP optimised: the owner in main may be in no frame
#include <cstdio>
#include <stdexcept>

struct Resource {
    explicit Resource(int n) : numbers(new int[n]) { numbers[0] = n; } // EXPECT leak still-reachable bytes=40 blocks=1
    ~Resource() { delete[] numbers; }
    int *numbers;
};

__attribute__((noinline)) static void forget()
{
    double *lost = new double[3]; // EXPECT leak definitely-lost bytes=24 blocks=1
    lost[0] = 1;
}

static Resource *global;

int main()
{
    static Resource resource(10);
    forget();
    std::printf("%d\n", resource.numbers[0]);
    std::fflush(stdout);
    throw std::runtime_error("nobody cares"); /* ALLOW leak still-reachable */ /* ALLOW leak possibly-lost */
}
