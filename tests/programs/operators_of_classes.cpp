// CLEAN
// FLAGS -std=c++17 -fsized-deallocation
// Classes with operators of their own, constructors that throw, placement, deletion through a base class: each block
// goes back the way it came.
#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>

struct FromMalloc {
    int value = 1;
    static void *operator new(std::size_t size) { return std::malloc(size); }
    static void operator delete(void *block) { std::free(block); }
    static void *operator new[](std::size_t size) { return std::malloc(size); }
    static void operator delete[](void *block) { std::free(block); }
};

struct FromGlobal {
    long values[3] = {1, 2, 3};
    static void *operator new(std::size_t size) { return ::operator new(size); }
    static void operator delete(void *block, std::size_t size) { ::operator delete(block, size); }
};

struct Picky {
    char text[40];
    explicit Picky(bool refuse)
    {
        if (refuse)
            throw std::runtime_error("refused");
        text[0] = 'p';
    }
};

struct alignas(128) PickyLine {
    char text[128];
    explicit PickyLine(int number)
    {
        if (number % 2)
            throw number;
        text[0] = 'l';
    }
};

struct Counted {
    static int alive;
    long load[2];
    Counted() : load{}
    {
        if (alive == 3)
            throw std::runtime_error("one too many");
        alive++;
    }
    ~Counted() { alive--; }
};
int Counted::alive = 0;

struct Shape {
    virtual ~Shape() {}
    virtual int corners() const { return 0; }
};

struct Square : Shape {
    int sides[16] = {};
    int corners() const override { return 4; }
};

struct Named {
    virtual ~Named() {}
    const char *name = "named";
};

struct NamedSquare : Square, Named {
    double extra[5] = {};
};

struct alignas(64) Wide : Shape {
    char more[200] = {};
    int corners() const override { return 8; }
};

__attribute__((noinline)) static int attempt(bool refuse, int number)
{
    int caught = 0;
    try {
        delete new Picky(refuse);
    } catch (const std::exception &) {
        caught += 1;
    }
    try {
        delete new PickyLine(number);
    } catch (int) {
        caught += 2;
    }
    try {
        delete new (std::nothrow) Picky(refuse);
    } catch (const std::exception &) {
        caught += 4;
    }
    try {
        delete[] new Counted[number];
    } catch (const std::exception &) {
        caught += 8;
    }
    return caught;
}

__attribute__((noinline)) static int destroy(Shape *shape)
{
    int corners = shape->corners();
    delete shape;
    return corners;
}

__attribute__((noinline)) static char destroy(Named *named)
{
    char first = named->name[0];
    delete named;
    return first;
}

int main()
{
    delete new FromMalloc;
    delete[] new FromMalloc[3];
    delete new FromGlobal;
    std::printf("%d %d\n", attempt(false, 2), attempt(true, 5));

    alignas(Square) unsigned char room[sizeof(Square)];
    Shape *placed = new (room) Square;
    std::printf("%d\n", placed->corners());
    placed->~Shape();

    void *raw = ::operator new(sizeof(Square));
    Square *built = new (raw) Square;
    built->~Square();
    ::operator delete(raw);

    std::printf("%d %d %d %d\n", destroy(new Shape), destroy(new Square), destroy(static_cast<Shape *>(new NamedSquare)),
                destroy(new Wide));
    std::printf("%c\n", destroy(static_cast<Named *>(new NamedSquare)));
    return Counted::alive;
}
