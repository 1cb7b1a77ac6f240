/* The patterns of zeromq.py in C on libzmq itself: zeromq PATTERN SIZE TRIPS COUNT prints "messages/s microseconds". */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { LIMIT = 60000 }; /* ms */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void *opened(void *context, int type)
{
    void *socket = zmq_socket(context, type);
    int limit = LIMIT, none = 0;
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &limit, sizeof limit);
    zmq_setsockopt(socket, ZMQ_SNDTIMEO, &limit, sizeof limit);
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    if (type == ZMQ_PUB || type == ZMQ_SUB) {
        zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof none);
        zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none);
    }
    if (type == ZMQ_SUB)
        zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0);
    return socket;
}

static void *bound(void *context, int type, char *address)
{
    size_t size = 64;
    void *socket = opened(context, type);
    assert(zmq_bind(socket, "tcp://127.0.0.1:*") == 0);
    zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, address, &size);
    return socket;
}

/* Receive one message, and return the size of its last part; with `parts` the parts before that are kept there. */
static int take(void *socket, char *body, int room, char *identity, int *identity_size)
{
    int size = 0, more = 1, part = 0;
    size_t length = sizeof more;
    while (more) {
        char *into = part == 0 && identity ? identity : body;
        size = zmq_recv(socket, into, part == 0 && identity ? 16 : room, 0);
        assert(size >= 0);
        if (part++ == 0 && identity)
            *identity_size = size;
        zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &length);
    }
    return size;
}

static void give(void *socket, const char *identity, int identity_size, int delimiter, const char *body, int size)
{
    if (identity)
        zmq_send(socket, identity, identity_size, ZMQ_SNDMORE);
    if (delimiter)
        zmq_send(socket, "", 0, ZMQ_SNDMORE);
    assert(zmq_send(socket, body, size, 0) == size);
}

/* The other process: sends back each message until it is empty; then takes `count`, and says so. */
static void peer(const char *pattern, char *to, char *from, int room, long count)
{
    void *context = zmq_ctx_new();
    int two = !strcmp(pattern, "push-pull") || !strcmp(pattern, "pub-sub");
    int dealer = !strcmp(pattern, "router-dealer");
    int in_type = !strcmp(pattern, "pub-sub") ? ZMQ_SUB : two ? ZMQ_PULL : dealer ? ZMQ_DEALER : ZMQ_REP;
    void *in = opened(context, in_type), *out = in;
    char *body = malloc(room);
    zmq_connect(in, to);
    if (two) {
        out = opened(context, in_type == ZMQ_SUB ? ZMQ_PUB : ZMQ_PUSH);
        zmq_connect(out, from);
    }
    if (dealer)
        give(in, NULL, 0, 1, "ready", 5);
    for (;;) {
        int size = take(in, body, room, NULL, NULL);
        if (size == 0)
            break;
        give(out, NULL, 0, dealer, body, size);
    }
    if (two) {
        for (long n = 0; n < count; n++)
            take(in, body, room, NULL, NULL);
        give(out, NULL, 0, 0, "done", 4);
        take(in, body, room, NULL, NULL);
    }
    exit(0);
}

static int smaller(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

int main(int argc, char **argv)
{
    assert(argc == 5);
    const char *pattern = argv[1];
    int size = atoi(argv[2]), room = size + 64;
    long trips = atol(argv[3]), count = atol(argv[4]);
    int two = !strcmp(pattern, "push-pull") || !strcmp(pattern, "pub-sub");
    int router = !strcmp(pattern, "router-dealer"), workers = router ? 2 : 1;
    char to[64] = "", from[64] = "", *body = calloc(1, room), *got = malloc(room);
    int kind = !strcmp(pattern, "pub-sub") ? ZMQ_PUB : two ? ZMQ_PUSH : router ? ZMQ_ROUTER : ZMQ_REQ;
    memset(body, 'x', size);
    int pipes[2];
    assert(pipe(pipes) == 0);
    for (int n = 0; n < workers; n++)
        if (fork() == 0) { /* before there is a context: it must not be in both */
            char where[128];
            assert(read(pipes[0], where, 128) == 128);
            peer(pattern, where, where + 64, room, count);
        }
    void *context = zmq_ctx_new();
    void *out = bound(context, kind, to), *in = out;
    if (two)
        in = bound(context, kind == ZMQ_PUB ? ZMQ_SUB : ZMQ_PULL, from);
    for (int n = 0; n < workers; n++) {
        char where[128] = "";
        memcpy(where, to, 64);
        memcpy(where + 64, from, 64);
        assert(write(pipes[1], where, 128) == 128);
    }
    char id[2][16], whose[16];
    int ids[2] = {0, 0}, whose_size = 0;
    for (int n = 0; n < workers && router; n++)
        take(in, got, room, id[n], &ids[n]);
    if (kind == ZMQ_PUB) { /* until both ways are open */
        zmq_pollitem_t item = {in, 0, ZMQ_POLLIN, 0};
        int asked = 0;
        do {
            give(out, NULL, 0, 0, "?", 1);
            asked++;
        } while (zmq_poll(&item, 1, 20) == 0);
        while (zmq_poll(&item, 1, 200) > 0)
            take(in, got, room, NULL, NULL);
    }

    double *took = malloc(sizeof(double) * trips), began = now();
    for (long n = 0; n < trips; n++) {
        double start = now();
        give(out, router ? id[0] : NULL, ids[0], router, body, size);
        take(in, got, room, router ? whose : NULL, &whose_size);
        took[n] = now() - start;
    }
    double rate = trips / (now() - began);
    qsort(took, trips, sizeof(double), smaller);
    if (two) {
        give(out, NULL, 0, 0, "", 0);
        began = now();
        for (long n = 0; n < count; n++)
            give(out, NULL, 0, 0, body, size);
        take(in, got, room, NULL, NULL);
        rate = count / (now() - began);
    } else if (router) { /* each worker gets the next task when it has done one */
        began = now();
        for (int n = 0; n < workers; n++)
            give(out, id[n], ids[n], 1, body, size);
        for (long n = 0; n < count; n++) {
            take(in, got, room, whose, &whose_size);
            if (n + workers < count)
                give(out, whose, whose_size, 1, body, size);
        }
        rate = count / (now() - began);
    }
    for (int n = 0; n < workers; n++)
        give(out, router ? id[n] : NULL, ids[n], router, "", 0);
    printf("%.1f %.2f\n", rate, took[trips / 2] * 1e6);
    while (wait(NULL) > 0)
        ;
    return 0;
}
