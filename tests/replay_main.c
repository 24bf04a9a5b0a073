/* Replays a corpus folder through one fuzz target, so that every input that ever broke a parser
 * stays a test. Usage: NAME_replay DIR [FILE...]. A missing folder is an error: a fuzz target without
 * a corpus proves nothing. Prints the number of inputs that it ran. */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_fd(int fd)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	/* An exact-size allocation, so that the sanitizer sees the first byte read past the input. */
	uint8_t *data = malloc(st.st_size ? (size_t)st.st_size : 1);
	if (!data)
		abort();
	size_t got = 0;
	while (got < (size_t)st.st_size) {
		ssize_t n = read(fd, data + got, (size_t)st.st_size - got);
		if (n <= 0)
			abort();
		got += (size_t)n;
	}
	LLVMFuzzerTestOneInput(data, got);
	free(data);
	return 1;
}

int main(int argc, char **argv)
{
	int ran = 0;
	for (int i = 1; i < argc; i++) {
		int fd = open(argv[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			perror(argv[i]);
			return 1;
		}
		struct stat st;
		if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
			DIR *dir = fdopendir(fd);
			struct dirent *de;
			while (dir && (de = readdir(dir))) {
				int file = openat(dirfd(dir), de->d_name, O_RDONLY | O_CLOEXEC);
				if (file < 0)
					abort();
				ran += replay_fd(file);
				close(file);
			}
			if (dir)
				closedir(dir);
		} else {
			ran += replay_fd(fd);
			close(fd);
		}
	}
	printf("%d inputs replayed\n", ran);
	return ran ? 0 : 1;
}
