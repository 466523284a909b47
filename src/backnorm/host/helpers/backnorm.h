/* backnorm's program protocol, version 1, for C99. Audit with: backnorm audit --program ./norm

   #define BN_T float                        // before the include; without it double
   #include "backnorm.h"
   static void call(bn_call *c) {            // c->train says the mode; the number of samples is c->n
     my_norm(c->n, bn_in(c, "x"), bn_in(c, "gamma"), bn_in(c, "beta"), bn_out(c, "y", "x"));
     if (bn_in(c, "dy")) my_norm_backward(..., bn_out(c, "dx", "x"), bn_out(c, "dgamma", "gamma"), bn_out(c, "dbeta", "beta"));
   }
   int main(void) { return bn_serve("kind=batch sample=3,2,2 params=3", "", NULL, call); }

   A layer with statistics of 3 values passes "state.mean state.var" and their 6 values in place of "" and NULL,
   reads bn_in(c, "state.mean"), and writes those after the call to bn_out(c, "state.mean", "state.mean").
   bn_error(c, "words") refuses a call; bn_shape(c, "x")[1] is the length of an axis. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifndef BN_T
#define BN_T double
#endif
typedef struct { char name[64], place[128]; size_t shape[9], n; BN_T *v; } bn_array;
typedef struct { int train; size_t n, in_count, out_count; bn_array in[32], out[32]; const char *error; } bn_call;
static bn_array *bn_find(bn_call *c, const char *name) {
  for (size_t i = 0; i < c->in_count; i++) if (!strcmp(c->in[i].name, name)) return &c->in[i];
  return NULL; }
static inline BN_T *bn_in(bn_call *c, const char *name) { bn_array *a = bn_find(c, name); return a ? a->v : NULL; }
static inline size_t *bn_shape(bn_call *c, const char *name) { bn_array *a = bn_find(c, name); return a ? a->shape : NULL; }
static inline void bn_error(bn_call *c, const char *words) { c->error = words; }
static inline BN_T *bn_out(bn_call *c, const char *name, const char *like) {   /* zeros, to be filled */
  bn_array *a = &c->out[c->out_count++]; *a = *bn_find(c, like);
  snprintf(a->name, sizeof a->name, "%s", name); return a->v = calloc(a->n + 1, sizeof(BN_T)); }
static void bn_read(bn_array *a, const char *word) {                           /* name=dtype[2,3] */
  const char *bracket = strchr(word, '['); char *end; size_t axes = 0;
  snprintf(a->name, sizeof a->name, "%.*s", (int)strcspn(word, "="), word); snprintf(a->place, sizeof a->place, "%s", strchr(word, '='));
  for (a->n = 1, end = (char *)bracket + 1; *end && *end != ']' && axes < 8; a->n *= a->shape[axes++]) { a->shape[axes] = strtoul(end, &end, 10); if (*end == ',') end++; }
}
static int bn_serve(const char *facts, const char *names, const BN_T *state, void (*call)(bn_call *)) {
  FILE *out = fdopen(dup(1), "wb"); char line[8192], start[1024]; const char *dtype = sizeof(BN_T) == 8 ? "float64" : "float32";
  dup2(2, 1);                                                                  /* what libraries print goes to stderr */
  while (fgets(line, sizeof line, stdin)) {
    static bn_call c; memset(&c, 0, sizeof c); char *word = strtok(line, " \n");
    if (!strcmp(word, "hello")) { const char *sample = strstr(facts, "params="); size_t n = sample ? strtoul(sample + 7, NULL, 10) : 0, count = 0;
      fprintf(out, "ok %s dtypes=%s", facts, dtype); snprintf(start, sizeof start, "%s", names);
      for (word = strtok(start, " "); word; word = strtok(NULL, " "), count++) fprintf(out, " %s=%s[%zu]", word, dtype, n);
      fputc('\n', out); if (state) fwrite(state, sizeof(BN_T), n * count, out); fflush(out); continue; }
    for (word = strtok(NULL, " \n"); word; word = strtok(NULL, " \n"))
      if (!strchr(word, '[')) c.train |= !strcmp(word, "train"); else if (c.in_count < 32) bn_read(&c.in[c.in_count++], word);
    for (size_t i = 0; i < c.in_count; i++) { bn_array *a = &c.in[i]; a->v = malloc((a->n + 1) * sizeof(BN_T)); if (fread(a->v, sizeof(BN_T), a->n, stdin) < a->n) return 0; }
    bn_array *x = bn_find(&c, "x"); const char *sample = strstr(facts, "sample="), *comma = x ? strchr(x->place, ',') : NULL;
    size_t same = sample ? strcspn(sample + 7, " ") : 0; c.n = x ? x->shape[0] : 0;
    if (!sample || !comma || strncmp(sample + 7, comma + 1, same) || comma[1 + same] != ']') bn_error(&c, "x has samples of another shape than in hello"); else call(&c);
    fprintf(out, c.error ? "error %s" : "ok", c.error);
    for (size_t i = 0; !c.error && i < c.out_count; i++) fprintf(out, " %s%s", c.out[i].name, c.out[i].place);
    fputc('\n', out);
    for (size_t i = 0; !c.error && i < c.out_count; i++) fwrite(c.out[i].v, sizeof(BN_T), c.out[i].n, out);
    for (size_t i = 0; i < 32; i++) { free(c.in[i].v); free(c.out[i].v); }
    fflush(out); }
  return 0; }
