// VALGRIND cannot: its operator new ends the program instead of throwing
// new that cannot be satisfied throws; nothrow gives a null pointer; what was allocated before is lost on the way.
#include <cstddef>
#include <cstdio>
#include <limits>
#include <new>

struct Image {
    int width, height;
    unsigned char *pixels;
};

__attribute__((noinline)) static Image *load(size_t size)
{
    Image *image = new Image; // EXPECT leak definitely-lost bytes=16 blocks=1
    image->pixels = new unsigned char[size];
    image->width = image->height = 1;
    return image;
}

__attribute__((noinline)) static void attempt(size_t size)
{
    try {
        Image *image = load(size);
        std::printf("loaded\n");
        delete[] image->pixels;
        delete image;
    } catch (const std::bad_alloc &) {
        std::printf("too large\n");
    }
}

int main()
{
    volatile size_t huge = std::numeric_limits<ptrdiff_t>::max() / 2;
    attempt(1000);
    attempt(huge);
    char *volatile nothing = new (std::nothrow) char[huge];
    std::printf("%s\n", nothing ? "granted" : "refused");
    return 0;
}
