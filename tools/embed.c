/* embed OUT.c FILE...: writes a C table of the files' bytes, for what the program serves by itself.
 *
 * The table is declared in host/base/embedded.h. Bytes are written as one array a file; the length
 * excludes the NUL that follows each file's bytes. */
#include <stdio.h>
#include <stdlib.h>

static long write_bytes(FILE *out, const char *path, int index)
{
    FILE *in = fopen(path, "rb");
    if (in == NULL) {
        perror(path);
        exit(1);
    }
    long count = 0;
    int c;
    fprintf(out, "static const char file_%d[] = {", index);
    while ((c = fgetc(in)) != EOF) {
        if (count++ % 20 == 0)
            fputs("\n    ", out);
        fprintf(out, "%d,", c >= 128 ? c - 256 : c);
    }
    fputs("0};\n", out);
    fclose(in);
    return count;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: embed OUT.c FILE...\n", stderr);
        return 2;
    }
    FILE *out = fopen(argv[1], "wb");
    long *lengths = calloc((size_t)argc, sizeof(*lengths));
    if (out == NULL || lengths == NULL) {
        perror(argv[1]);
        return 1;
    }
    fputs("#include \"base/embedded.h\"\n", out);
    for (int i = 2; i < argc; i++)
        lengths[i] = write_bytes(out, argv[i], i);
    fputs("const struct embedded_file embedded_files[] = {\n", out);
    for (int i = 2; i < argc; i++)
        fprintf(out, "    {\"%s\", file_%d, %ld},\n", argv[i], i, lengths[i]);
    fputs("    {0, 0, 0},\n};\n", out);
    free(lengths);
    return fclose(out) == 0 ? 0 : 1;
}
