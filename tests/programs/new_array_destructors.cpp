// new[] of a class with a destructor: the count stands before the first element, so the pointer is an interior one.
#include <cstdio>

class Sensor {
public:
    Sensor() : id(++made), reading(id * 1.5) {}
    ~Sensor() { --made; }
    int id;
    double reading;
    static int made;
};

int Sensor::made = 0;
static Sensor *kept;

__attribute__((noinline)) static double forget(int n)
{
    Sensor *sensors = new Sensor[n]; // EXPECT leak definitely-lost bytes=88 blocks=1
    return sensors[n - 1].reading;
}

__attribute__((noinline)) static void keep(int n)
{
    kept = new Sensor[n]; // EXPECT leak still-reachable bytes=56 blocks=1
}

__attribute__((noinline)) static void release(int n)
{
    Sensor *sensors = new Sensor[n];
    delete[] sensors;
}

int main()
{
    double last = forget(5);
    keep(3);
    release(7);
    std::printf("%.1f %d %d\n", last, kept[2].id, Sensor::made);
    return 0;
}
